"""Tests of this driver: on the hosts that libvirt's own test driver imitates."""
