"""The network device's datapaths."""
