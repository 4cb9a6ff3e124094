package migrations

// For tests with files of their own.
var (
	UpFiles     = up
	DownFiles   = down
	StatusFiles = status
	Files       = files
)
