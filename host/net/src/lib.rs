//! What nodes share: HTTP conventions, signed requests, TLS, blobs, and the log on disk.
