"""YAML documents with places → objects, checked as the CRDs would."""
