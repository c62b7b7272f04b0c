"""What a clip is: age encryption, fragmented MP4, journal, manifest, signatures, verification."""
