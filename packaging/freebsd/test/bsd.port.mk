# A stand-in for the ports tree's file of this name, for scripts/packaging-check:
# what a port must set, what a committer sends back, what cargo.mk sets, and the
# targets that a port may replace.
.sinclude "${.CURDIR}/Makefile.crates"
.for var in PORTNAME DISTVERSION CATEGORIES MAINTAINER COMMENT LICENSE USES CARGO_CRATES
.  if empty(${var})
.    error ${var} is not set
.  endif
.endfor
.if empty(USES:Mcargo)
.  error a port of a Rust program says USES=cargo
.endif
.for file in pkg-descr pkg-plist pkg-message distinfo
.  if !exists(${.CURDIR}/${file})
.    error ${file} is missing
.  endif
.endfor
.if ${MAINTAINER:tl} == ports@freebsd.org
.  error ports@FreeBSD.org is the maintainer of what nobody maintains
.endif
.for user in ${USERS}
.  if !exists(${.CURDIR}/UIDs.add) || !exists(${.CURDIR}/GIDs.add)
.    error ${user} has no lines for the UIDs and GIDs of the tree
.  endif
.endfor
# colibrid runs no bw that is older than those that were tested.
.if !empty(RUN_DEPENDS:M*bitwarden-cli) || empty(BW_RUN_DEPENDS:Mbitwarden-cli>=2026.*)
.  error a bw of any version is none that colibri runs
.endif
.if empty(USE_RC_SUBR)
.  error a port with a service says USE_RC_SUBR
.endif
.for script in ${USE_RC_SUBR}
.  if !exists(${.CURDIR}/files/${script}.in)
.    error files/${script}.in is missing
.  endif
.endfor

PREFIX?=	/usr/local
WRKDIR?=	${.CURDIR}/work
WRKSRC?=	${WRKDIR}/${PORTNAME}-${DISTVERSION}
STAGEDIR?=	${WRKDIR}/stage
EXAMPLESDIR?=	${PREFIX}/share/examples/${PORTNAME}
DOCSDIR?=	${PREFIX}/share/doc/${PORTNAME}
PLIST_SUB+=	DOCSDIR="${DOCSDIR:S,^${PREFIX}/,,}" EXAMPLESDIR="${EXAMPLESDIR:S,^${PREFIX}/,,}"
# As Mk/Uses/cargo.mk has them: the programs are below a directory of the target's.
CARGO_TARGET_DIR?=	${WRKDIR}/target
CARGO_BUILD_TARGET?=	x86_64-unknown-freebsd
SETENV=		env
SH=		/bin/sh
MKDIR=		mkdir -p
INSTALL_DATA=	install -m 0644
STRIP_CMD?=	strip

all: build
fetch extract patch configure build:
	@echo ${PORTNAME} ${.TARGET}
stage: build do-install rc-scripts
	@:
# What the framework does with USE_RC_SUBR.
rc-scripts: do-install
.for script in ${USE_RC_SUBR}
	mkdir -p ${STAGEDIR}${PREFIX}/etc/rc.d
	sed -e 's|%%PREFIX%%|${PREFIX}|g' ${.CURDIR}/files/${script}.in >${STAGEDIR}${PREFIX}/etc/rc.d/${script}
.endfor
# What is to be in the package: pkg-plist, its variables filled in, and the scripts.
plist:
	@sed -e 's|^@sample[^ ]* ||' ${PLIST_SUB:@pair@-e 's|%%${pair:C/=.*//}%%|${pair:C/^[^=]*=//:S/"//g}|g'@} ${.CURDIR}/pkg-plist
.for script in ${USE_RC_SUBR}
	@echo etc/rc.d/${script}
.endfor
package install: stage
