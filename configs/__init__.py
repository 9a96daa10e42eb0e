"""Configurations, as YAML files."""
