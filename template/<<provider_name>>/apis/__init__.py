"""The fields that users of the driver write into their MachineClass and its Secret."""
