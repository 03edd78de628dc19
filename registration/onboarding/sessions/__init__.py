"""Guided sessions: one person's progress through a wizard, over days if necessary. Start at `registration.onboarding.sessions.sessions`."""
