"""Wizards: guided questions as data, whose answers end in a manifest. Start at `registration.onboarding.wizards.wizard`."""
