"""The configuration file of other endpoint pickers (EndpointPickerConfig), in the words of this one."""
