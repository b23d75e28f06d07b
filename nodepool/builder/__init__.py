"""From elements to images in clouds. Empty in this release."""
