"""Tests of this driver, on hosts that libvirt's own test driver imitates."""
