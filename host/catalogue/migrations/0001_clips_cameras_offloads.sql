-- Clips that the store holds, cameras that were seen, and what was fetched from whom.
CREATE TABLE cameras (
    device TEXT PRIMARY KEY,
    epoch TEXT,
    generation INTEGER,
    number INTEGER,
    as_of_utc TEXT
);

CREATE TABLE clips (
    device TEXT NOT NULL,
    clip TEXT NOT NULL,
    manifest_sha256 TEXT NOT NULL,
    epoch TEXT NOT NULL,
    generation INTEGER NOT NULL,
    number INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    complete BOOLEAN NOT NULL,
    place TEXT NOT NULL CHECK (place IN ('clips', 'quarantine')),
    receipted BOOLEAN NOT NULL,
    PRIMARY KEY (device, clip, manifest_sha256)
);

CREATE INDEX clips_by_number ON clips (device, epoch, number);

CREATE TABLE offloads (
    custody_index INTEGER PRIMARY KEY,
    utc TEXT NOT NULL,
    kind TEXT NOT NULL,
    device TEXT,
    clip TEXT,
    manifest_sha256 TEXT,
    ciphertext_bytes INTEGER
);

CREATE INDEX offloads_by_clip ON offloads (clip);
