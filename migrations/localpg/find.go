package localpg

import "context"

// Find tells which binaries Start would use in that folder, without fetching any. A MissingError where there are none.
func Find(ctx context.Context, cfg Config) (dir, version string, err error) {
	cfg.NoInstall = true
	b, err := findBinaries(ctx, cfg, account{}, 0)
	return b.dir, b.version, err
}
