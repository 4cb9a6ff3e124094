package labeling

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// erasureFormat names the file of a signed report, and stands before what is signed: a signature of anything else is none of a report.
const erasureFormat = "rankloop-erasure-1"

// SignedErasure is the report of an erasure as a file that whoever has the installation's public key can check.
type SignedErasure struct {
	Format    string          `json:"format"`
	Report    json.RawMessage `json:"report"` // an ErasureReport; spaces between its parts do not count
	SHA256    string          `json:"sha256"` // of the report without such spaces, hex; the audit log has it too
	Algorithm string          `json:"algorithm"`
	Key       string          `json:"key"`       // the public key, base64
	Signature string          `json:"signature"` // of the format's name, a line feed and the report, base64
}

// SignErasure signs a report that has no spaces between its parts.
func SignErasure(key ed25519.PrivateKey, report []byte) (signature, public string) {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, signedBytes(report))), ErasureKey(key)
}

// ErasureKey is the public key as reports name it.
func ErasureKey(key ed25519.PrivateKey) string {
	return base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

func signedBytes(report []byte) []byte { return append([]byte(erasureFormat+"\n"), report...) }

// ReadSignedErasure reads a file that holds a signed report.
func ReadSignedErasure(file []byte) (d SignedErasure, err error) {
	dec := json.NewDecoder(bytes.NewReader(file))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return d, fmt.Errorf("it is no signed report of an erasure: %w", err)
	}
	if d.Format != erasureFormat || d.Algorithm != "ed25519" {
		return d, fmt.Errorf("it is no signed report of an erasure: format %q, algorithm %q; %s and ed25519 are wanted", d.Format, d.Algorithm, erasureFormat)
	}
	return d, nil
}

// Verify says what is wrong with a report, if anything: it must be the one that was signed, by the given public key (base64).
func (d SignedErasure) Verify(public string) (r ErasureReport, err error) {
	key, err := base64.StdEncoding.DecodeString(public)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return r, fmt.Errorf("the key to verify with must be %d bytes in base64", ed25519.PublicKeySize)
	}
	if d.Key != public {
		return r, fmt.Errorf("it was signed by another key: %s", d.Key)
	}
	var report bytes.Buffer
	if err := json.Compact(&report, d.Report); err != nil {
		return r, fmt.Errorf("the report is no JSON: %w", err)
	}
	if sum := sha256.Sum256(report.Bytes()); hex.EncodeToString(sum[:]) != d.SHA256 {
		return r, errors.New("the report was changed: it does not have its sha256")
	}
	signature, err := base64.StdEncoding.DecodeString(d.Signature)
	if err != nil || !ed25519.Verify(key, signedBytes(report.Bytes()), signature) {
		return r, errors.New("the signature is not one of this report")
	}
	if err := json.Unmarshal(report.Bytes(), &r); err != nil {
		return r, fmt.Errorf("the report: %w", err)
	}
	r.Digest, r.SignedBy = d.SHA256, d.Key
	return r, nil
}
