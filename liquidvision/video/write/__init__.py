"""Writers of video, images, and copied sound and subtitles."""
