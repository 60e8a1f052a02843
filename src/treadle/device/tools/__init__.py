"""What a device can do, as MCP tools: those of this machine in an in-process server, and those of further servers."""
