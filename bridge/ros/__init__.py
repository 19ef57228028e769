"""The robot's ROS 2 nodes and their side of the graph: standard messages in, core values out, and back."""
