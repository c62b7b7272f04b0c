-- One row each time that a camera was docked; open while `undocked_utc` is null.
CREATE TABLE sessions (
    session INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    bay TEXT NOT NULL,
    docked_utc TEXT NOT NULL,
    undocked_utc TEXT
);

CREATE INDEX sessions_by_device ON sessions (device, session);
