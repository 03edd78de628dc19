"""Policies to begin with, as files: `registration.rules.policies.templates`."""
