from .callbacks import Verification as Verification
from .recipe import Recipe as Recipe
from .run_folder import TrainingResult as TrainingResult
from .trainer import load_classifier as load_classifier
from .trainer import train as train
