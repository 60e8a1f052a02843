"""The HTTP layer: one registry of routes, from which dispatch, binding, scopes, OpenAPI and the access matrix follow.

It knows nothing of tasks. A face brings its rows (`Route`), says how errors are spelled, and gets an ASGI application.
"""
