"""What peers serve. These modules run in the peers' own virtual environments, so they import nothing of Modelyard."""
