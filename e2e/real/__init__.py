"""A real cluster on this machine: nodes with kubelet and containerd, images, Pods.

Each host is a process in namespaces of its own. Its network, its mounts and all other processes in
it end with that process. `python -m e2e.real` prepares what the cluster needs.
"""
