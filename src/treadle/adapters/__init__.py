"""What stands behind the ports: stores and buses. Each imports the core and nothing else of ours."""
