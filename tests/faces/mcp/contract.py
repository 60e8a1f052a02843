"""The table of contract section 12: every tool with its required and its optional parameters."""

from __future__ import annotations

TOOLS: dict[str, tuple[set[str], set[str]]] = {
    "create_project": ({"name", "description"}, {"instructions", "maxRetries", "leaseDuration", "verbose"}),
    "list_projects": (set(), {"status", "includeClosed", "limit", "offset", "verbose"}),
    "get_project": ({"projectId"}, {"verbose"}),
    "update_project": (
        {"projectId"}, {"description", "instructions", "status", "maxRetries", "leaseDuration", "verbose"},
    ),
    "get_project_stats": ({"projectId"}, set()),
    "create_task_type": (
        {"projectId", "name"},
        {"template", "variables", "duplicateHandling", "maxRetries", "leaseDurationMinutes", "verbose"},
    ),
    "list_task_types": ({"projectId"}, {"limit", "offset"}),
    "get_task_type": ({"taskTypeId"}, set()),
    "update_task_type": (
        {"projectId", "taskType"},
        {"template", "variables", "duplicateHandling", "maxRetries", "leaseDurationMinutes", "verbose"},
    ),
    "create_task": ({"projectId"}, {"type", "instructions", "id", "description", "variables"}),
    "create_tasks_bulk": ({"projectId", "tasks"}, set()),
    "list_tasks": ({"projectId"}, {"status", "type", "assignedTo", "includeCompleted", "limit", "offset"}),
    "get_task": ({"taskId"}, set()),
    "get_next_task": ({"projectId"}, {"agentName"}),
    "peek_next_task": ({"projectId"}, set()),
    "list_active_agents": ({"projectId"}, set()),
    "complete_task": ({"agentName", "projectId", "taskId", "result"}, {"outputs"}),
    "fail_task": ({"agentName", "projectId", "taskId", "error"}, {"canRetry"}),
    "extend_lease": ({"taskId", "minutes"}, set()),
    "extend_task_lease": ({"taskId", "extensionMinutes"}, set()),
    "health_check": (set(), set()),
    "get_lease_stats": ({"projectId"}, set()),
    "cleanup_expired_leases": ({"projectId"}, set()),
}  # fmt: skip

PROMPTS = {
    "create-project", "track-progress", "batch-process", "break-down-work", "process-list", "code-review-workflow",
    "file-processing-pipeline", "test-generation-workflow", "documentation-workflow", "analyze-logs", "validate-data",
    "migration-tasks", "security-audit", "audit-configs", "process-data", "deployment-checks",
}  # fmt: skip
