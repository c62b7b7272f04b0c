"""What is inside a clip: H.264 and AAC in fragmented MP4, with a sound track that never starves."""
