package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is stamped by the linker (-ldflags "-X main.version=...").
var version = "development"

// Exit codes of the command line.
const (
	exitFailed = 1 // the command ran and did not succeed
	exitUsage  = 2 // the command line is wrong
)

// cli is every command of the binary. Flags can also be given as environment variables (RANKLOOP_...) or in
// a JSON file (/etc/rankloop/config.json, ~/.config/rankloop.json, or --config-file).
type cli struct {
	ConfigFile kong.ConfigFlag `help:"Read flags from this JSON file." placeholder:"FILE"`

	Demo     demoCmd     `cmd:"" help:"Run the whole loop here: private Postgres, starter model, simulated labelers." group:"Server"`
	Serve    serveCmd    `cmd:"" help:"Serve the web pages and the API." group:"Server"`
	Work     workCmd     `cmd:"" help:"Run the background jobs: sampling, training, evaluation." group:"Server"`
	Migrate  migrateCmd  `cmd:"" help:"Bring the database's schema up or down, or show where it is." group:"Server"`
	Admin    adminCmd    `cmd:"" help:"Create people and API keys." group:"Server"`
	User     userCmd     `cmd:"" help:"List accounts, reset passwords, change roles, disable." group:"Server"`
	Round    roundCmd    `cmd:"" help:"Start, list, watch and cancel rounds." group:"Server"`
	Backup   backupCmd   `cmd:"" help:"Write database and files to one file, while the server works." group:"Server"`
	Restore  restoreCmd  `cmd:"" help:"Read a file of 'rankloop backup' into an empty database and folder." group:"Server"`
	Audit    auditCmd    `cmd:"" help:"Search or verify the audit log." group:"Server"`
	Settings settingsCmd `cmd:"" help:"List and change the settings that hold while the program runs." group:"Server"`
	Doctor   doctorCmd   `cmd:"" help:"Check what this machine has and lacks." group:"Server"`

	Tokenize   tokenizeCmd   `cmd:"" help:"Text to token ids and back, a JSON line each." group:"Offline"`
	Score      scoreCmd      `cmd:"" help:"Log-probabilities of texts or ids, a JSON line each." group:"Offline"`
	Generate   generateCmd   `cmd:"" help:"Continue a prompt." group:"Offline"`
	Train      trainCmd      `cmd:"" help:"Pretrain, fine-tune, train a reward model or run PPO, without a database." group:"Offline"`
	Eval       evalCmd       `cmd:"" help:"Ask models tasks with and without examples: zero-, one-, few-shot and fine-tuned in one table." group:"Offline"`
	Reward     rewardCmd     `cmd:"" help:"Score with a reward model, or measure one." group:"Offline"`
	Import     importCmd     `cmd:"" help:"Read preference data into rankings." group:"Offline"`
	Export     exportCmd     `cmd:"" help:"Write a snapshot of rankings as a file for other tools." group:"Server"`
	Erase      eraseCmd      `cmd:"" help:"Erase a customer, a labeler or a completion, with a report." group:"Server"`
	Erasure    erasureCmd    `cmd:"" help:"Reports of erasures: list, print and verify them." group:"Server"`
	Model      modelCmd      `cmd:"" help:"Inspect, export, promote and roll back models." group:"Offline"`
	Experiment experimentCmd `cmd:"" help:"Run a repeatable experiment and say whether it holds." group:"Offline"`
	Crowd      crowdCmd      `cmd:"" help:"Simulate crowds with bad labelers and say how many the quarantine rule finds." group:"Offline"`
	Bench      benchCmd      `cmd:"" help:"Measure kernels, training and decoding against what the machine can do." group:"Offline"`

	Version versionCmd `cmd:"" help:"Print the version."`
}

// streams are where a command reads and writes: results to out, progress and logs to err.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// usageError is a command line that parses but makes no sense; it exits like one that does not parse.
type usageError struct{ error }

// quietError has been reported already; only its exit code is left to give.
type quietError struct{ error }

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, io streams) (code int) {
	var c cli
	code = -1
	parser, err := kong.New(&c,
		kong.Name("rankloop"),
		kong.Description("Turns people's rankings into a better language model: labeling, reward training and PPO in one binary."),
		kong.UsageOnError(),
		kong.Writers(io.out, io.err),
		kong.Exit(func(c int) { code = c }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.DefaultEnvars("RANKLOOP"),
		kong.Configuration(kong.JSON, "/etc/rankloop/config.json", filepath.Join(home(), ".config", "rankloop.json")),
		kong.Vars{"data_dir": defaultDir("rankloop"), "demo_dir": defaultDir("rankloop-demo"), "bench_shapes": benchShapeNames()},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(io),
	)
	if err != nil {
		fmt.Fprintln(io.err, "rankloop:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if code >= 0 { // --help has been answered
		return code
	}
	if err != nil {
		fmt.Fprintf(io.err, "rankloop: %v\nRun 'rankloop --help' for the commands, 'rankloop COMMAND --help' for its flags.\n", err)
		return exitUsage
	}
	err = kctx.Run()
	var usage usageError
	var quiet quietError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &quiet):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(io.err, "rankloop: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(io.err, "rankloop: %v\n", err)
	return exitFailed
}

func home() string {
	h, err := os.UserHomeDir()
	if err != nil {
		return "/"
	}
	return h
}

// defaultDir is the data folder: under /var/lib for root, because Postgres then runs as another user who must be able
// to walk there, and in the user's own data folder otherwise.
func defaultDir(name string) string {
	if os.Geteuid() == 0 {
		return filepath.Join("/var/lib", name)
	}
	if d := os.Getenv("XDG_DATA_HOME"); d != "" {
		return filepath.Join(d, name)
	}
	return filepath.Join(home(), ".local", "share", name)
}

type versionCmd struct{}

func (versionCmd) Run(io streams) error {
	_, err := fmt.Fprintln(io.out, "rankloop", version)
	return err
}
