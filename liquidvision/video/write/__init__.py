"""Writers: annotated video, images, copied audio and subtitles."""
