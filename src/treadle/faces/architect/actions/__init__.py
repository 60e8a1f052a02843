"""The actions that the Architect face brings itself: the agent, the session, users and roles (spec 7.1, 7.5)."""
