package account

import "time"

// SignInLife is how long somebody may take to sign in at a provider, and then to prove that an account is theirs.
const SignInLife = 10 * time.Minute

// SignIn is one that is under way at a provider: what has to come back with it.
type SignIn struct {
	Provider string
	Nonce    string // that the provider's token must carry
	Verifier string // of the code (PKCE)
	Next     string // page to go on with
	UserID   string // who links the identity to the account; empty: somebody signs in
}

// Identity is who somebody is at a provider that proved it. Subject, not the address, is what stays.
type Identity struct {
	ID          string // empty while it is linked to nobody
	Issuer      string
	Subject     string
	Provider    string // its name in the settings
	Email       string // verified by the provider
	MadeAccount bool   // the account was made by it
	CreatedAt   time.Time
}

// Entry asks to be let in as an identity.
type Entry struct {
	Identity
	Make   bool   // an account may be made
	Name   string // of that
	Role   Role   // of that
	Mapped bool   // Role follows from the provider's claims: accounts that came by it take it at each sign-in
	Next   string // page to go on with
	From   From
}

// Entrance is what came of an Entry: a session, or the offer to link the identity to the account that has its address.
type Entrance struct {
	Token string // of the session
	User  User
	Offer string // secret of the offer; empty: signed in
}
