# make reads its rules from where it finds bsd.port.mk; the port needs none.
