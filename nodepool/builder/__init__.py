"""The image builder: elements to images to clouds. One decision thread around a pure core, as in the launcher."""
