"""The sixteen prompts of TaskDriver's MCP server: advice on working with its tools (contract 12).

Each needs a project; some take one thing more, and say what to do when it is not given.
"""

from collections.abc import Mapping

from treadle.core.actions import Argument, Prompt
from treadle.core.templates import render

INSTRUCTIONS = """\
A project is a pool of tasks. A task type holds the instructions of its tasks as a template with {{variable}} \
placeholders. Plan with create_project, create_task_type and create_task or create_tasks_bulk; work with \
get_next_task, complete_task and fail_task; look with get_project_stats and list_tasks. \
Projects and types go by id or name. \
get_next_task tells you your agentName: keep it, give it back with every result, and ask under it again after a \
restart to get the task back that you held. Answers are JSON; when success is false, error says why."""

WORK = """\
Work like this until nothing is left:
1. get_next_task for project {{project_name}}. Keep the agentName you are told and pass it from now on.
2. Do what the task's `instructions` say, and only that.
3. complete_task with what came out as `result`; put data that others need into `outputs` as a JSON object.
   If it cannot be done, fail_task with what went wrong; canRetry false if another try would fail the same way.
4. A lease has an end (`leaseExpiresAt`). If you need longer, extend_lease before it comes.
Stop when get_next_task says that no tasks are available."""

PROJECT = Argument("project_name", "Project: its name (letters, digits, hyphens, underscores) or its id", required=True)


def _prompt(name: str, summary: str, text: str, **optional: tuple[str, str]) -> Prompt:
    """A prompt whose further arguments are given as name=(what it is, what stands there without it)."""
    without = {argument: words for argument, (_, words) in optional.items()}
    whole = render(text, {"work": WORK})

    def filled(given: Mapping[str, str]) -> str:
        return render(whole, {**without, **given})

    arguments = (PROJECT, *(Argument(argument, meaning) for argument, (meaning, _) in optional.items()))
    return Prompt(name=name, summary=summary, arguments=arguments, text=filled)


PROMPTS: list[Prompt] = [
    _prompt(
        "create-project",
        "Set up a project for a piece of work, with task types that fit it",
        """\
Set up the project {{project_name}} for this work: {{goal}}.

1. list_projects first: if {{project_name}} exists, go on with it instead of making another.
2. create_project with a description of one or two sentences. Put into `instructions` what everybody who works in it \
has to know: where things are, what is off limits, what a good result looks like.
3. Find the kinds of step in this work. Make one task type for each with create_task_type: a template that a stranger \
could follow, with {{variable}} placeholders for what differs. Choose a lease twice as long as a step should take, and \
duplicateHandling `ignore` where doing a thing twice is a waste.
4. Create one task of each type, read it with get_task, and correct the template until the instructions are clear.
5. Say what you set up, and how many tasks you expect.""",
        goal=("What the project is for", "what the user has described (ask if it is not clear)"),
    ),
    _prompt(
        "track-progress",
        "Report how far a project's work is, and what is in its way",
        """\
Report on project {{project_name}}.

1. get_project_stats: what is done, running, waiting and failed; how long a task takes; how many agents are at work.
2. list_active_agents: is anybody holding a task much longer than the average?
3. get_lease_stats: if leases have run out, cleanup_expired_leases puts these tasks back.
4. list_tasks with status failed: read the errors, group equal ones, and say what each group needs.
5. Give one paragraph a busy person can use: per cent done, an honest estimate of the rest (waiting tasks times \
average duration, divided by active agents), and the one thing that would help most.""",
    ),
    _prompt(
        "batch-process",
        "Turn a list of similar items into tasks and work through them",
        """\
Process these items in project {{project_name}}: {{items}}.

Prepare:
1. get_project; create_project if it does not exist.
2. One task type with a template that names the item as {{item}}, says exactly what to do with it and what the result \
must contain; duplicateHandling `ignore`, so that running this twice does no harm.
3. create_tasks_bulk, at most 1000 at a time: [{"type": "…", "vars": {"item": "…"}}, …]. Read `errors` in the answer; \
every item is either created or named there.

{{work}}

At the end compare the number of completed tasks with the number of items, and name what is missing.""",
        items=("The items, or where to find them", "those that the user has named (ask if there are none)"),
    ),
    _prompt(
        "break-down-work",
        "Break a large goal down into tasks that can be done one by one",
        """\
Break this down into tasks in project {{project_name}}: {{goal}}.

1. Write down what will be true when it is done, so that somebody else could check it.
2. List the steps. A good task takes one agent minutes rather than hours, needs nothing that is not in its \
instructions, can be tried again without harm, and says how to see that it succeeded.
3. Steps of the same kind share a task type (create_task_type); single steps get their own `instructions`.
4. Tasks are given out in the order of their creation, to several agents at once. If one step needs another's result, \
do not create it yet: say in the earlier task that its worker creates the next one.
5. create_tasks_bulk, then list_tasks, and show the user the list before anybody starts.""",
        goal=("What is to be reached", "what the user has described (ask if it is not clear)"),
    ),
    _prompt(
        "process-list",
        "Create one task for each entry of a list",
        """\
Create one task in project {{project_name}} for each entry of this list: {{list}}.

1. Look at three entries and find what differs: these are the variables.
2. create_task_type with a template for one entry. Use duplicateHandling `fail` if a repeated entry is a mistake, \
`ignore` if it may simply be left out.
3. create_tasks_bulk with one object for each entry, in the list's order: that is the order of work.
4. Compare `tasksCreated` with the length of the list, and explain every entry in `errors`.
5. peek_next_task shows how many are waiting. Do not start on them unless you were asked to.""",
        list=("The list, or where it is", "the one the user has given (ask if there is none)"),
    ),
    _prompt(
        "code-review-workflow",
        "Review code file by file and bring the findings together",
        """\
Review {{code}} through project {{project_name}}.

1. Find the files that count; leave out what is generated, vendored or only data.
2. create_task_type `review-file` with a template that names {{file}} and asks for: faults first (what goes wrong, \
with which input, in which line), then risks, then what is hard to read. No praise, no style that a formatter settles. \
The result is a JSON list of {line, severity, finding, proposal}; an empty list is a good answer.
3. create_tasks_bulk with one task for each file, the most changed first.

{{work}}

Then read all results (list_tasks with includeCompleted, limit 0), put equal findings together, check each serious one \
in the code yourself, and report by severity.""",
        code=("What to review: a folder, a branch, a list of files", "the code that the user has named"),
    ),
    _prompt(
        "file-processing-pipeline",
        "Take files through several stages, each stage its own task type",
        """\
Build a pipeline for {{files}} in project {{project_name}}.

1. Name the stages (for example read, transform, check, write), and for each what comes in and what goes out.
2. One task type for each stage. The template names {{path}} and what the stage before left in its `outputs`; it ends \
by saying: on success create the task of the next stage with create_task, then complete this one.
3. A stage must bear being run twice: write to a new file and rename it, and never change the source.
4. create_tasks_bulk for the first stage only. Custom ids such as `read-0001` make it easy to find a file again.

{{work}}

At the end every file has a completed task of the last stage, or a failed one that says why.""",
        files=("The files: a folder or a pattern", "the files that the user has named"),
    ),
    _prompt(
        "test-generation-workflow",
        "Write tests for code, module by module",
        """\
Write tests for {{code}} through project {{project_name}}.

1. List the modules and what each promises to its callers. Leave out what has no promise of its own.
2. create_task_type `write-tests` with a template that names {{module}} and asks for tests of what it promises: the \
ordinary case, the edges, wrong input, and what must not happen. A test that cannot fail is a fault; so is one that \
repeats the code. The tests must run, and the result names the command that runs them.
3. create_tasks_bulk, the modules first that would hurt most if they broke.

{{work}}

Finally run everything once. Report faults that the tests found in the code apart from the tests themselves.""",
        code=("What to test: a folder or a list of modules", "the code that the user has named"),
    ),
    _prompt(
        "documentation-workflow",
        "Write or renew documentation, page by page",
        """\
Document {{subject}} through project {{project_name}}.

1. Say who reads it and what they want to do. Make a list of pages from that: first steps, tasks, reference, reasons.
2. create_task_type `write-page` with a template that names {{page}} and {{sources}}, and asks for: what the reader \
can do afterwards, short sentences, examples that were really run, nothing that the code does not do.
3. create_tasks_bulk with one task for each page. Add a `check-page` type whose worker follows a finished page word by \
word, and fails the task with whatever did not work.

{{work}}

At the end put the pages in order, and look for terms that two pages use differently.""",
        subject=("What to document", "what the user has named"),
    ),
    _prompt(
        "analyze-logs",
        "Go through logs in pieces and find what matters",
        """\
Analyse {{logs}} through project {{project_name}}.

1. Find out the span of time, the format and the size. Cut it into pieces that one agent can read whole, at line \
borders, with a name such as file and byte range for each.
2. create_task_type `read-piece` with a template that names {{piece}} and asks for JSON: kinds of error with count, \
first and last time and one example line; anything slow; anything seen only once. Values that look like secrets are \
named and not quoted.
3. create_tasks_bulk with one task for each piece, in order of time.

{{work}}

Then add the counts up, put what happened on one time line, and separate causes from what followed from them. Say how \
sure you are of each.""",
        logs=("The logs: files, a folder, a span of time", "the logs that the user has named"),
    ),
    _prompt(
        "validate-data",
        "Check data against rules, piece by piece",
        """\
Validate {{data}} through project {{project_name}}.

1. Write the rules down first, each so that two people would agree whether a row breaks it. Ask where one is unclear.
2. create_task_type `check-piece` with a template that names {{piece}}, holds the rules, and asks for JSON: rows read, \
and for each broken rule the row's key, the rule and the value. Nothing is corrected in this step.
3. create_tasks_bulk with one task for each piece.

{{work}}

Then check that the rows read add up to the whole, and report for each rule how often it was broken with three \
examples. Propose corrections as tasks of their own, and create them only if the user agrees.""",
        data=("The data: files or tables", "the data that the user has named"),
    ),
    _prompt(
        "migration-tasks",
        "Plan and carry out a migration in steps that can be undone",
        """\
Plan this migration in project {{project_name}}: {{migration}}.

1. Take stock: what has to move, what depends on it, who notices.
2. For each step write down: what to do, how to see that it worked, how to undo it, and what must be finished before. \
A step that cannot be undone needs a person's yes: say so in its instructions.
3. create_task_type `migrate` with a template for {{item}} that asks for exactly this order: check that it is not done \
yet, save the old state, change, verify, and undo if the check fails. maxRetries 1.
4. Create the task of one harmless item, carry it out, and let the user look at it before the others are created.

{{work}}

At the end verify the whole from outside, and list what was left behind on purpose.""",
        migration=("What moves from where to where", "what the user has described (ask if it is not clear)"),
    ),
    _prompt(
        "security-audit",
        "Audit a system for weaknesses, area by area",
        """\
Audit {{system}} through project {{project_name}}. Only look: change nothing, attack nothing, and stay inside what the \
user may allow you.

1. Draw what there is to protect, where input comes in, and which borders it crosses.
2. create_task_type `audit-area` with a template that names {{area}} (for example login, rights, input, secrets, \
files, network, dependencies, logs) and asks for each finding: what an attacker needs, what they gain, the place, how \
to confirm it, how to close it. Without a way to confirm it a finding is a question, and is marked so.
3. create_tasks_bulk with one task for each area. Secrets that are found are named by their place and never quoted.

{{work}}

Then confirm the serious findings yourself, order them by damage times ease, and report the first one at once if it is \
being used.""",
        system=("What to audit", "what the user has named"),
    ),
    _prompt(
        "audit-configs",
        "Compare configuration with rules and with itself",
        """\
Audit {{configs}} through project {{project_name}}.

1. List the files and, for each, what reads it and which version of that is in use.
2. create_task_type `audit-config` with a template that names {{file}} and asks for: settings that nothing reads, \
defaults that should not be in production, values that contradict another file, rights that are too wide, secrets in \
plain text (name the key, never the value), and where the documentation says otherwise.
3. create_tasks_bulk with one task for each file.

{{work}}

Then look for what only shows across files: the same thing set twice, ports and paths that do not meet. Report what to \
change, in the order in which it is safe to change it.""",
        configs=("The configuration: files or a folder", "the configuration that the user has named"),
    ),
    _prompt(
        "process-data",
        "Transform data in pieces and put the results together",
        """\
Process {{data}} in project {{project_name}}.

1. Agree on the result first: its format, one example, and how to see that it is complete.
2. Cut the data into pieces that need nothing from each other and take a few minutes each.
3. create_task_type `process-piece` with a template that names {{piece}} and where its result goes. The worker counts \
what came in and what went out and puts both into `outputs`.
4. create_tasks_bulk with one task for each piece; ids such as `piece-0001` keep their order.

{{work}}

Then put the results together in order, check that the counts add up, and keep the failed pieces apart: list_tasks \
with status failed names them.""",
        data=("The data and what should become of it", "what the user has described (ask if it is not clear)"),
    ),
    _prompt(
        "deployment-checks",
        "Check before and after a release whether everything is as it should be",
        """\
Check the release {{release}} through project {{project_name}}.

1. create_task_type `check` with a template that names {{check}}, how to carry it out, and what the answer must be. A \
check looks and changes nothing; its result is what was seen, with the command that showed it.
2. Before: version and changes, tests green, backup younger than the data is precious, room on the disks, \
certificates, what it depends on, the way back and who may decide to take it. create_tasks_bulk, one task each.
3. Work through them. One failed check stops the release until a person has looked at it.
4. After: the right version answers, the health page is good, errors and response times compare with yesterday's, one \
real user's path works from beginning to end.

{{work}}

End with one line: go, or no-go and because of what.""",
        release=("Which release, and where to", "that the user has named"),
    ),
]
