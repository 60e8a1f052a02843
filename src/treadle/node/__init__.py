"""What runs on each machine: it asks the desk for work, runs it as processes and ships what they print."""
