"""Wizards: guided questions as data, whose answers become a manifest. Start at `registration.onboarding.wizards.wizard`."""
