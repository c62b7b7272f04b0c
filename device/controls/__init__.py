"""Button gestures, trigger inputs, lights, buzzer and vibration."""
