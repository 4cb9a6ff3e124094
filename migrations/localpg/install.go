package localpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// installLine is the one line that installs PostgreSQL on this system.
func installLine(major int) string {
	switch {
	case runtime.GOOS == "darwin":
		if major == 0 {
			major = 17
		}
		return fmt.Sprintf("brew install postgresql@%d", major)
	case has("apt-get"):
		line := "apt-get install -y " + aptPackage(major)
		if os.Geteuid() != 0 {
			return "sudo " + line
		}
		return line
	case has("dnf"):
		return "sudo dnf install -y postgresql-server"
	case has("apk"):
		return "sudo apk add postgresql"
	case has("zypper"):
		return "sudo zypper install -y postgresql-server"
	case has("pacman"):
		return "sudo pacman -S --noconfirm postgresql"
	}
	return "npm pack " + npmSpec() + " (and unpack it), or install PostgreSQL as your system does"
}

func has(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func aptPackage(major int) string {
	if major == 0 {
		return "postgresql"
	}
	return fmt.Sprintf("postgresql-%d", major)
}

// install gets binaries by whatever client the machine has: npm, which changes nothing outside the cache folder, else
// apt-get as root.
func install(ctx context.Context, cfg Config, who account, missing *MissingError) (binaries, error) {
	var failures []error
	if missing.Major == 0 || missing.Major == npmMajor {
		b, err := fetch(ctx, cfg, who)
		if err == nil {
			err = b.fits(missing.Major)
		}
		if err == nil {
			return b, nil
		}
		failures = append(failures, fmt.Errorf("by npm: %w", err))
	}
	if os.Geteuid() == 0 && has("apt-get") && !cfg.HideSystem {
		b, err := installApt(ctx, cfg, who, missing.Major)
		if err == nil {
			return b, nil
		}
		failures = append(failures, fmt.Errorf("by apt-get: %w", err))
	}
	return binaries{}, errors.Join(append([]error{missing}, failures...)...)
}

// installApt installs the distribution's package. Its cluster on port 5432 is none of ours.
func installApt(ctx context.Context, cfg Config, who account, major int) (binaries, error) {
	pkg := aptPackage(major)
	cfg.Logf("no PostgreSQL here: installing the package %s by apt-get", pkg)
	run := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, lastLines(out))
		}
		return nil
	}
	if err := run("install", "-y", "--no-install-recommends", pkg); err != nil {
		if err := run("update"); err != nil {
			return binaries{}, err
		}
		if err := run("install", "-y", "--no-install-recommends", pkg); err != nil {
			return binaries{}, err
		}
	}
	cfg.NoInstall = true // found now or never
	return findBinaries(ctx, cfg, who, major)
}

// lastLines keeps the end of a program's output for an error.
func lastLines(out []byte) string {
	out = bytes.TrimSpace(out)
	return string(out[max(0, len(out)-1500):])
}
