# A stand-in for the ports tree's file of this name, for scripts/packaging-check:
# what a port must set, and the targets that a port may replace.
.for var in PORTNAME DISTVERSION CATEGORIES MAINTAINER COMMENT LICENSE USES CARGO_CRATES
.  if empty(${var})
.    error ${var} is not set
.  endif
.endfor
.if empty(USES:Mcargo)
.  error a port of a Rust program says USES=cargo
.endif
.for file in pkg-descr pkg-plist distinfo
.  if !exists(${.CURDIR}/${file})
.    error ${file} is missing
.  endif
.endfor

PREFIX?=	/usr/local
WRKDIR=		${.CURDIR}/work
WRKSRC?=	${WRKDIR}/${PORTNAME}-${DISTVERSION}
STAGEDIR?=	${WRKDIR}/stage
CARGO_TARGET_DIR?=	${WRKDIR}/target
SETENV=		env
SH=		/bin/sh
STRIP_CMD=	strip

all: build
fetch extract patch configure build:
	@echo ${PORTNAME} ${.TARGET}
stage: build do-install
package install: stage
