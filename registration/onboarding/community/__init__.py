"""The wizard `community-onboarding`: chains, assets, tiers, roles and channels, and the resulting manifest.

Data and pure functions: nothing here contacts a chain, a server or a clock. Start at `wizard.py`.
"""

from __future__ import annotations

from registration.onboarding.community.manifest import CommunityManifest as CommunityManifest
from registration.onboarding.community.wizard import COMMUNITY as COMMUNITY

WIZARD = COMMUNITY
