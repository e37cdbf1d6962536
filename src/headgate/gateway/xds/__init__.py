"""What Envoy is told and when: versions, the delta session, lingering; pure."""
