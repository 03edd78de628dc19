"""Deploying: a plan of small steps that is executed at a target, all or nothing.

`plans.py` defines the steps, `target.py` the protocol of a target, `lifecycle.py` the statechart of a deployment,
`saga.py` the runner, `json_target.py` a target that stores a community as one JSON file.
"""

from __future__ import annotations

from registration.onboarding.community.deploying.json_target import JsonTarget as JsonTarget
from registration.onboarding.community.deploying.json_target import PlannedFailure as PlannedFailure
from registration.onboarding.community.deploying.plans import DeploymentPlan as DeploymentPlan
from registration.onboarding.community.deploying.plans import DeploymentStep as DeploymentStep
from registration.onboarding.community.deploying.plans import plan_for as plan_for
from registration.onboarding.community.deploying.saga import Deployment as Deployment
from registration.onboarding.community.deploying.saga import Deployments as Deployments
from registration.onboarding.community.deploying.saga import open_deployments as open_deployments
from registration.onboarding.community.deploying.target import Done as Done
from registration.onboarding.community.deploying.target import Target as Target
