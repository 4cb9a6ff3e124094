// Package oidc asks identity providers who somebody is: OpenID Connect Core 1.0, the authorization code flow with PKCE (RFC 7636), state
// and nonce. It knows no accounts; what a proven identity may do is decided by web/account.
//
// Decisions:
//   - A provider is looked up (OpenID Connect Discovery) when somebody first signs in by it, so that one that is down neither keeps the
//     program from starting nor anybody from signing in by a password.
//   - A token counts only with the provider's signature, its issuer, this client as audience, an expiry ahead, and the nonce of this very
//     sign-in; the e-mail address counts only when the provider says that it verified it.
package oidc
