"""Input: event files and generated listeners → records on the events topic."""
