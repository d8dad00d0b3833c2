"""Hosts with libvirt on this machine, whose VMs run in QEMU without KVM.

Each is a host of `e2e.real`, so that libvirtd, its VMs, networks and mounts end with it.
`python -m e2e.qemu` prepares what it needs.
"""
