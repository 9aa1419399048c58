import os

# Before OpenMP is loaded: threads that spin at its barriers slow each other down when tests run side by side.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
