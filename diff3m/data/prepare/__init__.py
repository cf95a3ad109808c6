"""From the tables of public data sets to manifests."""
