"""The parts of a report: figures from runs and evaluations, as tables, drawings and pages."""
