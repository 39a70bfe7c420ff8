"""What wakes people: rules over the journal, the alerts they raise, and how these are told and answered."""
