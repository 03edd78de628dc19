"""Guided sessions: one person on the way through a wizard, over days if need be. Start at `registration.onboarding.sessions.sessions`."""
