"""The test rig that the benchmarks share: a scripted upstream, a load generator, and the gateways under test."""
