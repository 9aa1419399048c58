"""Version v1alpha1 of the API."""

from modelyard.api.v1alpha1.common import CustomResource
from modelyard.api.v1alpha1.deployment import Deployment
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.observation import Observation
from modelyard.api.v1alpha1.pipeline import Pipeline
from modelyard.api.v1alpha1.trainingrun import TrainingRun

KINDS: tuple[type[CustomResource], ...] = (Pipeline, TrainingRun, ModelVersion, Deployment, Observation)

__all__ = ["KINDS", "Deployment", "ModelVersion", "Observation", "Pipeline", "TrainingRun"]
